"""Log lines: from an event, or a record of the standard library, to bytes on stdout."""
