"""Webhooks: subscriptions and their dead deliveries."""
