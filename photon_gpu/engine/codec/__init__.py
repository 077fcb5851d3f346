"""Convert values to bytes and back: quantize, predict, pack, compress."""
