"""`toolrail dashboard`: a local web page over the record, for a person on call. An extra; nothing else imports it."""
