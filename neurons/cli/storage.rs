//! `templar storage`: serves buckets from a folder, as an S3 server.

use crate::{cli::Failure, context::told_to_stop};
use std::{io::Write, net::SocketAddr, path::PathBuf, time::Duration};
use templar::bucket::server::{Faults, Keys, ServerConfig, start};
use tokio::sync::watch;

/// How often the file of faults is read.
const FAULTS_AGE: Duration = Duration::from_millis(200);

/// Flags of `templar storage`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: std::net::IpAddr,
    /// The port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 9000)]
    pub port: u16,
    /// The folder that holds the buckets.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The file of the access keys, which only its owner may be able to read.
    #[arg(long, value_name = "FILE")]
    pub keys: PathBuf,
    /// A file that says how to misbehave, for tests; it is read again when it changes.
    #[arg(long, value_name = "FILE", hide = true)]
    pub faults: Option<PathBuf>,
    /// End when standard input ends, as a program started by another should.
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
}

/// Serves until it is told to stop. Prints the server's address on stdout when it listens.
pub async fn run(args: Args) -> Result<(), Failure> {
    let keys = Keys::read(&args.keys)?;
    let mut config = ServerConfig::new(SocketAddr::new(args.host, args.port), args.dir, keys);
    config.faults = args.faults.map(follow_faults);
    let server = start(config).await?;
    // Whoever started this reads the line to learn the port; if nobody reads, that is no error.
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "http://{}", server.addr()).and_then(|()| stdout.flush());
    told_to_stop(args.exit_with_parent).await;
    server.stop().await;
    Ok(())
}

/// What a file says, kept up to date; what cannot be read changes nothing.
fn follow_faults(path: PathBuf) -> watch::Receiver<Faults> {
    let (tell, faults) = watch::channel(Faults::default());
    tokio::spawn(async move {
        loop {
            if let Some(now) = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
                tell.send_if_modified(|known| {
                    let changed = *known != now;
                    *known = now;
                    changed
                });
            }
            tokio::time::sleep(FAULTS_AGE).await;
        }
    });
    faults
}
