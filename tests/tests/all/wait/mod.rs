//! Waiting for a place.

mod attribute;
mod giving_up;
mod harness;
mod histories;
mod posture;
mod queue;
mod smoothing;
mod threads;
