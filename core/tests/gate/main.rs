//! The gate over all connections: its limits, its steps, and whom it closes.

mod accounts;
mod days;
mod steps;
mod support;
mod victims;
