"""What a stream of a user's own arrays is put together from: data, heads, what is shown when, and inputs."""
