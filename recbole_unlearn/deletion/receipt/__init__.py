"""What a request did, measured, as JSON and as a page."""
