"""The service that is checked: its address, raw exchanges, and what is found about it."""
