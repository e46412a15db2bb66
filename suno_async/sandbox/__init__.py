"""A faithful local server of the job API."""
