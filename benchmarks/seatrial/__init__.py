"""The checklist of seatrial on other stacks, and its cost."""
