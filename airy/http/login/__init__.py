"""Logins of people at an identity provider: OAuth 2 code flow with PKCE, state and, in OpenID Connect, nonce."""
