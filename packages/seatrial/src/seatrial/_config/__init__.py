"""The file `seatrial.toml`."""
