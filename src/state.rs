//! What a request may use: built once at start, shared by every worker, never global.
