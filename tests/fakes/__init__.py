"""Stand-ins for what lies outside the process: a loopback model server that speaks the providers' wire forms."""
