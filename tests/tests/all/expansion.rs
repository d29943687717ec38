//! What the attributes are turned into.
