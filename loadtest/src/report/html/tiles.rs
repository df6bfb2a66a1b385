//! The figures in large type at the top of the page.

use serde::Serialize;

use crate::report::Report;
use crate::report::figures::{Idle, Load};
use crate::report::html::MEBIBYTE;
use crate::report::wording::{count, ms, whole};

/// A figure in large type.
#[derive(Debug, Serialize)]
pub(super) struct Tile {
    label: &'static str,
    value: String,
    unit: String,
}

pub(super) fn tiles(report: &Report, load: Option<&Load>) -> Vec<Tile> {
    let mut tiles = Vec::new();
    if let Some(ramp) = &report.ramp {
        tiles.push(tile(
            "highest rate that held",
            ramp.highest_rate.map_or_else(|| "none".to_owned(), count),
            "sends/s",
        ));
    }
    if let Some(load) = load {
        of_load(&mut tiles, load);
    }
    if let Some(idle) = &report.idle {
        of_idle(&mut tiles, idle);
    }
    tiles
}

fn tile(label: &'static str, value: String, unit: &str) -> Tile {
    Tile {
        label,
        value,
        unit: unit.to_owned(),
    }
}

fn of_load(tiles: &mut Vec<Tile>, load: &Load) {
    tiles.push(tile(
        "accepted",
        count(load.sends.accepted_per_second),
        "sends/s",
    ));

    tiles.push(tile(
        "delivered",
        count(load.deliveries_per_second),
        "deliveries/s",
    ));
    tiles.push(tile("POST p99", ms(load.post.p99_ms), "ms"));
    tiles.push(tile("delivered p99", ms(load.deliver.p99_ms), "ms"));
    tiles.push(tile(
        "failed",
        whole(load.sends.failed + load.sends.unsent),
        "sends",
    ));

    if let Some(server) = &load.server {
        tiles.push(tile(
            "server CPU",
            format!("{:.0}", server.cpu_us_per_message),
            "µs a message",
        ));
        tiles.push(tile(
            "server memory",
            format!("{:.0}", server.resident_highest_bytes / MEBIBYTE),
            "MiB",
        ));
    }
}

fn of_idle(tiles: &mut Vec<Tile>, idle: &Idle) {
    tiles.push(tile("sessions", whole(idle.sessions), "opened"));
    tiles.push(tile(
        "still open at the end",
        whole(idle.open_at_end),
        "sessions",
    ));
    tiles.push(tile("opening", ms(idle.open.p99_ms), "ms p99"));

    if let Some(each) = idle.kept_bytes_per_session {
        tiles.push(tile(
            "memory",
            format!("{:.1}", each / 1024.0),
            "KiB a session",
        ));
    }

    if let Some(processors) = idle.server_processors {
        tiles.push(tile(
            "server CPU at rest",
            format!("{processors:.3}"),
            "processors",
        ));
    }
}
