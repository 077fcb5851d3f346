"""The journal on local disk that makes acknowledged frames durable."""
