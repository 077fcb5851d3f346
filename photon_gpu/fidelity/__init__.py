"""Does a stored movie keep the science? PASS, WARN or FAIL, line by line, with reasons."""
