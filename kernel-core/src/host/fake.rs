//! A host made of nothing but memory.
