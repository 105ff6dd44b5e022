"""The edge of a Litestar service: problem details, deadlines, limits, CORS, headers."""
