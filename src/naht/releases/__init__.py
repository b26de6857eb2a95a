"""What is released, for whom, on what it stands, who vouches for it, and what a device takes next.

The rules (`plan`, `record`, `next_step`, `transitions`, `compare`, `checks`) are pure: no I/O, no
clock; a day is passed in. Refuses to guess: what the record does not say is `unknown`. `signing`
makes the signed repository, `client` takes hotpatches out of it; `roles` and `records` serve both.
"""
