//! Known terms that an unknown one may have meant.
