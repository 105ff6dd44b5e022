"""The server: receiver, pages, live updates and the data for terminals."""
