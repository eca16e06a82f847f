//! Writes the runtime's metadata, version 15, to the file that is named.

fn main() -> std::io::Result<()> {
    let Some(path) = std::env::args_os().nth(1) else {
        return Err(std::io::Error::other("name the file to write"));
    };
    std::fs::write(path, node_subtensor_runtime::metadata())
}
