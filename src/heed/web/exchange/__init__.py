"""Files, webhooks and media: what goes in and out."""
