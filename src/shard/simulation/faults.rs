//! What fails: nodes that pause, crash or give their shard away, and servers that restart or fail
//! over.

use std::time::Duration;

use rand::Rng;

use crate::shard::simulation::network::Packet;
use crate::shard::simulation::world::World;

impl World {
    pub(super) fn fault(&mut self) {
        let which = self.rng.random_range(0..self.nodes.len());
        let others_live = self
            .nodes
            .iter()
            .filter(|node| node.index != which && node.lives())
            .count()
            > 0;
        match self.rng.random_range(0..10) {
            0 | 1 if others_live => {
                self.nodes[which].paused = true;
                self.beyond_promise |= self.stale;
            }
            2 | 3 => self.nodes[which].paused = false,
            4 if others_live => {
                self.nodes[which].crash();
                self.beyond_promise |= self.stale;
            }
            5 | 6 => self.nodes[which].up = true,
            7 => self.break_redis(),
            8 => self.redis.linked = false,
            9 => {
                let to = self.rng.random_range(0..self.nodes.len());
                let now = self.now;
                if to != which && self.nodes[which].lives() {
                    self.nodes[which].give(now, to);
                    self.send(which);
                } else {
                    self.redis.link();
                }
            }
            _ => self.now += Duration::from_millis(self.rng.random_range(500..4000)),
        }
    }

    fn break_redis(&mut self) {
        self.waits.clear();
        // Its connections break; what was on its way to it is lost.
        self.packets
            .retain(|packet| matches!(packet, Packet::Reply { .. }));
        if self.rng.random_bool(0.5) {
            let claimed = self
                .redis
                .master()
                .control
                .as_ref()
                .map(|control| control.token);
            self.stale |= !self.redis.linked;
            self.beyond_promise |= self.stale && self.nodes.iter().any(|node| !node.lives());
            self.redis.fail_over();
            let left = self
                .redis
                .master()
                .control
                .as_ref()
                .map(|control| control.token);
            self.forgot_claim |= claimed != left;
        } else {
            self.redis.restart();
        }
    }
}
