"""Collection: services of earlier versions are tested by `test_upgrade.py`, after their upgrade."""

collect_ignore = ["upgrade"]
