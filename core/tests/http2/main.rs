//! HTTP/2 in simulated time: requests and answers, windows, deadlines, floods and endings.

mod accounts;
mod answers;
mod content;
mod endings;
mod floods;
mod requests;
mod rules;
mod tunnels;
mod websockets;
