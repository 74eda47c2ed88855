"""What the kinds of endpoint share that are reached over gRPC: addresses, channels, retry hints, gRPC's own codes."""
