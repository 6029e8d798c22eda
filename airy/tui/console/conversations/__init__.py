"""Conversations: a live list, a thread, and answers."""
