//! Safe calls, natively: over a world in which each attempt meets a fate, with callees that recognise repeats or do not.

mod blocks;
mod cases;
mod sequences;
mod world;
