"""Keeps records in DynamoDB, under keys that only this package builds and reads."""
