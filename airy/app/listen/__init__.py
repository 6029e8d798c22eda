"""`airy listen`: a local receiver of webhooks that verifies, prints and answers with chosen failures."""
