"""`just trial`: the checklist of seatrial on the services of the registry."""
