//! What holds over time: between many devices, under load, after a crash, at the end of the
//! process.

mod devices;
mod durability;
mod limits;
mod live_order;
pub(crate) mod load;
mod presence;
mod process;
mod scale;
mod slow_reader;
mod stop;
