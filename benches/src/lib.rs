//! Nothing here: the targets are in `benches`, one for each question that a user asks.
