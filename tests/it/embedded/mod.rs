//! What only makes sense when everything is one process: `rookery dev`, its folder, its command
//! line.

mod audit;
mod backup;
mod disk;
mod erasure;
mod process;
