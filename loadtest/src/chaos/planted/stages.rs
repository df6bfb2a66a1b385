//! What happens in the scenarios, each several times until something is found.

use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::Signal;

use crate::chaos::clients::World;
use crate::chaos::clients::person::Person;
use crate::chaos::faults::named;
use crate::chaos::faults::schedule::Step;
use crate::chaos::planted::scenario::Stage;
use crate::chaos::planted::{apart, newcomer, space, spoiled, usurped};
use crate::chaos::random::Random;
use crate::chaos::site::wires::{Pair, Rule, Wires};
use crate::chaos::trial::Trial;
use crate::chaos::wire::say;

/// The load alone.
const CALM: Duration = Duration::from_secs(20);
/// Until messages that are kept for a minute have gone.
const MINUTES: Duration = Duration::from_secs(100);
/// Without a second copy.
const ALONE: Duration = Duration::from_millis(1_500);
/// Between a promotion and the end of the owner: enough to append.
const GOING_ON: Duration = Duration::from_millis(2_000);
/// For a replica to be promoted.
const PROMOTED_WITHIN: Duration = Duration::from_secs(20);
/// Rounds of one attempt.
const PAUSES: u64 = 12;
const ROUNDS: u64 = 3;
/// A node that was replaced while it was paused is read from for so long once it goes on, by one
/// reader of each conversation, so often; and written to at the end of each third of it.
const AGAIN: Duration = Duration::from_millis(1_500);
const READ_EVERY: Duration = Duration::from_millis(20);
/// Beyond the last checkpoint.
const UNSYNCED: Duration = Duration::from_secs(35);

/// Plays a stage, until it is over or something is wrong.
pub(super) async fn play(trial: &Trial, stage: Stage) -> Result<(), String> {
    let mut random = trial.world().random.split("stage", 0);
    match stage {
        Stage::Calm | Stage::Changes => trial.pause(CALM).await,
        Stage::AloneThenBoth => {
            for round in 0..ROUNDS {
                alone_then_both(trial, &mut random).await?;
                next(trial, round).await;
            }
        }
        Stage::SuffixThenOwner => {
            for round in 0..ROUNDS {
                suffix_then_owner(trial, &mut random).await?;
                next(trial, round).await;
            }
        }
        Stage::Pauses => {
            for round in 0..PAUSES {
                paused(trial, round, &mut random).await?;
            }
        }
        Stage::PowerLoss => power_loss(trial).await?,
        Stage::NoSpace => space::play(trial).await?,
        Stage::Apart => apart::play(trial).await?,
        Stage::Usurped => usurped::play(trial).await?,
        Stage::Spoiled => spoiled::play(trial).await?,
        Stage::Newcomer => newcomer::play(trial).await?,
        Stage::Minutes => trial.pause(MINUTES).await,
        Stage::Faults(names) | Stage::ChangesAnd(names) => faults(trial, names).await?,
    }

    Ok(())
}

async fn power_loss(trial: &Trial) -> Result<(), String> {
    trial.pause(UNSYNCED).await;
    let site = &trial.field.site;
    let said = site.lose_power(&site.nodes()).await?;
    begins(trial, "power-loss", &said);
    trial.recover("power-loss", true).await;
    Ok(())
}

/// These faults, one after the other, until something is wrong.
async fn faults(trial: &Trial, names: &[&str]) -> Result<(), String> {
    for (number, name) in (1..).zip(names) {
        let fault = named(name).ok_or_else(|| format!("there is no fault {name}"))?;
        if trial.world().log.is_wrong() {
            return Ok(());
        }
        trial
            .step(&Step {
                quiet: Duration::from_secs(2),
                fault,
                stays: Duration::from_millis(fault.stays_ms.1),
                number,
            })
            .await?;
    }
    Ok(())
}

pub(super) fn begins(trial: &Trial, name: &str, said: &str) {
    say(&format!("  {name}: {said}"));
    trial.world().log.fault(name, said);
}

/// What was killed stays so in the last round: everything has to be there without it.
async fn next(trial: &Trial, round: u64) {
    if round + 1 < ROUNDS {
        trial.recover("the round", true).await;
    }
}

/// An owner, a master and its replica; and the links that are held: the replica's, and those of all
/// other nodes.
struct Targets {
    owner: String,
    master: String,
    replica: String,
    held: Vec<Pair>,
}

async fn targets(trial: &Trial, random: &mut Random) -> Result<Targets, String> {
    let site = &trial.field.site;
    let owner = format!("node-{}", random.between(1, 3));
    let masters = site.servers(true).await;
    let master = random.pick(&masters).cloned().ok_or("there is no master")?;
    let replica = site
        .replica_of(&master)
        .await
        .ok_or_else(|| format!("{master} has no replica"))?;
    let others = site.nodes().into_iter().filter(|node| *node != owner);

    let held = others
        .chain([replica.clone()])
        .map(|name| (name, master.clone()))
        .collect();
    Ok(Targets {
        owner,
        master,
        replica,
        held,
    })
}

/// One node has all of a master, whose replica stands still, from now on.
async fn stand_alone<'a>(
    trial: &'a Trial,
    random: &mut Random,
) -> Result<(Targets, &'a Wires), String> {
    let targets = targets(trial, random).await?;
    let wires = trial
        .field
        .site
        .wires
        .as_ref()
        .ok_or("there are no proxies")?;
    begins(
        trial,
        "alone",
        &format!(
            "{} has all of {}; {} stands still",
            targets.owner, targets.master, targets.replica
        ),
    );

    wires.set(&targets.held, Some(Rule::HoldReplies));
    trial.pause(ALONE).await;
    Ok((targets, wires))
}

async fn alone_then_both(trial: &Trial, random: &mut Random) -> Result<(), String> {
    if trial.world().log.is_wrong() {
        return Ok(());
    }

    let site = &trial.field.site;
    let (targets, wires) = stand_alone(trial, random).await?;
    site.kill(&[targets.owner.clone(), targets.master.clone()])
        .await;
    begins(
        trial,
        "both",
        &format!("{} and {} are killed", targets.owner, targets.master),
    );

    wires.reset(&targets.held).await;
    promoted(trial, &targets).await;

    // As a replica without what it had: with two replicas of each shard, what only the dead node
    // and its master had is not served before there is a second copy of what is written.
    site.start_again(std::slice::from_ref(&targets.master))
        .await?;
    trial.recover("both", false).await;
    Ok(())
}

/// Until the replica is the master, or that takes too long.
async fn promoted(trial: &Trial, targets: &Targets) {
    let end = tokio::time::Instant::now() + PROMOTED_WITHIN;
    while !trial
        .field
        .site
        .servers(true)
        .await
        .contains(&targets.replica)
        && tokio::time::Instant::now() < end
    {
        trial.pause(Duration::from_millis(100)).await;
    }
}

async fn suffix_then_owner(trial: &Trial, random: &mut Random) -> Result<(), String> {
    if trial.world().log.is_wrong() {
        return Ok(());
    }

    let site = &trial.field.site;
    let (targets, wires) = stand_alone(trial, random).await?;
    site.kill(std::slice::from_ref(&targets.master)).await;
    wires.reset(&targets.held).await;
    promoted(trial, &targets).await;
    begins(
        trial,
        "suffix",
        &format!("{} lost the end of {}", targets.replica, targets.master),
    );

    trial.pause(GOING_ON).await;
    site.kill(std::slice::from_ref(&targets.owner)).await;
    begins(trial, "owner", &format!("{} is killed", targets.owner));
    trial.recover("owner", false).await;
    Ok(())
}

/// A node is paused for about as long as it takes to replace it. Requests go to it over the link of
/// one router, which does not hear of that, for it is cut off from Redis and keeps its last table:
/// some before, some when the node was replaced, all lie in its socket when it goes on; and some
/// come after.
async fn paused(trial: &Trial, round: u64, random: &mut Random) -> Result<(), String> {
    if trial.world().log.is_wrong() {
        return Ok(());
    }

    let site = &trial.field.site;
    let node = format!("node-{}", round % 3 + 1);
    let router = format!("router-{}", random.between(1, 2));
    let address = site.address(&format!("{router}.client"))?;
    let wires = site.wires.as_ref().ok_or("there are no proxies")?;
    let to_redis: Vec<Pair> = (1..=6)
        .map(|number| (router.clone(), format!("redis-{number}")))
        .collect();
    // The watch is 1 s and 250 ms; around that, and well beyond, but not so long that a link is
    // taken for dead.
    let stays = if random.percent(50) {
        random.between(1_150, 1_700)
    } else {
        random.between(2_000, 2_600)
    };

    begins(
        trial,
        "pause",
        &format!("{node} for {stays} ms, and {router} hears nothing of it"),
    );

    wires.set(&to_redis, Some(Rule::Hold));
    let early = tokio::spawn(requests(trial, &address));
    trial
        .pause(Duration::from_millis(random.between(0, 20)))
        .await;
    site.signal(std::slice::from_ref(&node), Signal::SIGSTOP);

    trial.pause(Duration::from_millis(stays)).await;
    let late = tokio::spawn(requests(trial, &address));
    trial.pause(Duration::from_millis(200)).await;
    site.signal(&[node], Signal::SIGCONT);

    // Whoever still believes to own what was taken answers from before that: until its lease is not
    // renewed, or it sees the table, whichever is first.
    let reading = reads(trial, &address);
    early.await.ok();
    late.await.ok();
    for _ in 0..3 {
        trial.pause(AGAIN / 3).await;
        requests(trial, &address).await;
    }

    join_all(reading).await;
    wires.reset(&to_redis).await;
    trial.recover("pause", true).await;
    Ok(())
}

/// Readers of all conversations, at that address, each again and again.
fn reads(trial: &Trial, address: &str) -> Vec<tokio::task::JoinHandle<()>> {
    let world = trial.world();
    let end = tokio::time::Instant::now() + AGAIN;
    let groups = world.groups().into_iter();
    let reading = groups.map(|group| {
        let mut reader = Person::at(world, group.admin, &[address.to_owned()]);
        let world = std::sync::Arc::clone(world);
        tokio::spawn(async move {
            while tokio::time::Instant::now() < end {
                read_newest(&mut reader, &world, group.conversation).await;
                tokio::time::sleep(READ_EVERY).await;
            }
        })
    });
    reading.collect()
}

/// What anybody has seen last, and what follows it.
async fn read_newest(reader: &mut Person, world: &World, conversation: u32) {
    let after = world
        .log
        .ask(|checker| checker.last(conversation))
        .saturating_sub(3);
    reader.page(world, conversation, (after, 100), false).await;
}

/// A read and a message of each conversation, at that address, all at once.
fn requests(trial: &Trial, address: &str) -> impl Future<Output = ()> + Send + 'static {
    let (world, address) = (std::sync::Arc::clone(trial.world()), address.to_owned());
    async move {
        let groups = world.groups();
        let asking = groups.iter().map(|group| {
            let addresses = [address.clone()];
            let (mut reader, mut writer) = (
                Person::at(&world, group.admin, &addresses),
                Person::at(&world, group.admin, &addresses),
            );
            let (world, conversation) = (&world, group.conversation);
            async move {
                tokio::join!(
                    read_newest(&mut reader, world, conversation),
                    writer.send_once(world, conversation),
                );
            }
        });
        join_all(asking).await;
    }
}
