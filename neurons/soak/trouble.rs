//! What goes wrong, and when.

use super::{ALL, LAG, VALIDATORS, World, process::Order};
use std::{rc::Rc, time::Duration};
use templar::telemetry::files::pretend_full_disk;
use tokio::{sync::watch, task::spawn_local, time::sleep};

/// Chances in a window.
const KILL: f64 = 0.15;
const STOP: f64 = 0.04;
const BLACKOUT: f64 = 0.004;
const STORM: f64 = 0.04;
const AWAY: f64 = 0.03;
const LATE_FINALITY: f64 = 0.03;
const FULL_DISK: f64 = 0.01;

/// Makes trouble until a window comes.
pub async fn make(world: Rc<World>, orders: Vec<watch::Sender<Order>>, until: u64) {
    let window = Duration::from_millis(world.window_ms());
    let orders = Rc::new(orders);
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let (pause, draws) = world.weather.draw(|chances| {
            (
                window.mul_f64(chances.share()),
                [KILL, STOP, BLACKOUT, STORM, AWAY, LATE_FINALITY, FULL_DISK].map(|c| chances.happens(c)),
            )
        });
        let [kill, stop, blackout, storm, away, late, full] = draws;
        sleep(pause).await;
        if world.window() >= until {
            break;
        }
        // At most so many windows.
        let long = |most: f64| window.mul_f64(most * world.weather.draw(|chances| chances.share()).powi(2));
        let who = world.weather.draw(|chances| chances.below(ALL as u64)) as usize;
        let told = |orders: &Rc<Vec<watch::Sender<Order>>>, who: usize, order, length| {
            let orders = orders.clone();
            orders[who].send_replace(order);
            spawn_local(async move {
                sleep(length).await;
                orders[who].send_replace(Order::Run);
            })
        };
        if kill {
            world.count("kills");
            told(&orders, who, Order::Kill, long(4.0));
        }
        if stop {
            world.count("stops");
            told(&orders, (who + 1) % ALL, Order::Stop, long(3.0));
        }
        if blackout {
            world.count("all validators killed");
            (0..VALIDATORS).for_each(|who| drop(told(&orders, who, Order::Kill, long(2.0))));
        }
        if storm {
            world.count("storms");
            let (errors, latency) = world.weather.draw(|c| (0.3 * c.share(), 40 + c.below(1500)));
            world.weather.storm(errors, errors / 2.0, latency);
            let (weather, length) = (world.weather.clone(), long(5.0));
            tasks.spawn_local(async move {
                sleep(length).await;
                weather.calm();
            });
        }
        if away {
            world.count("buckets away");
            let (weather, length) = (world.weather.clone(), long(4.0));
            let who = (who + 2) % ALL;
            weather.away(who, true);
            tasks.spawn_local(async move {
                sleep(length).await;
                weather.away(who, false);
            });
        }
        if late {
            world.count("late finality");
            world.chain.set_lag(world.weather.draw(|chances| chances.below(6)));
            let (chain, length) = (world.chain.clone(), long(4.0));
            tasks.spawn_local(async move {
                sleep(length).await;
                chain.set_lag(LAG);
            });
        }
        if full {
            world.count("full disks");
            pretend_full_disk(true);
            let length = long(1.5);
            tasks.spawn_local(async move {
                sleep(length).await;
                pretend_full_disk(false);
            });
        }
        sleep(window.saturating_sub(pause)).await;
    }
    tasks.join_all().await;
    world.weather.calm();
    orders.iter().for_each(|order| _ = order.send_replace(Order::Run));
    // Orders may come of what was begun before; their senders stay until then.
    sleep(window * 6).await;
    orders.iter().for_each(|order| _ = order.send_replace(Order::Run));
    std::future::pending::<()>().await;
}
