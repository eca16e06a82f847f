//! A node as seen through somebody who changes what is asked and answered: message by message, not byte by byte.
#![allow(dead_code, reason = "each test uses a part of this")]

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::Mutex,
};

use crate::node::Node;

/// What the proxy does with a request.
pub enum Deed {
    /// It goes to the node.
    Pass,
    /// It goes to the node, a while later.
    Wait(Duration),
    /// This is the answer, and the node hears nothing of it.
    Answer(Value),
    /// The connection ends, and the node hears nothing of it.
    Cut,
    /// It goes to the node, and a while later the connection ends.
    PassAndCut(Duration),
}

/// What the proxy does with messages.
pub trait Manner: Send + Sync + 'static {
    /// The HTTP status with which a client is turned away, if it is.
    fn refuses(&self) -> Option<u16> {
        None
    }

    /// What becomes of a request.
    fn deed(&self, request: &Value) -> Deed {
        self.answer(request).map_or(Deed::Pass, Deed::Answer)
    }

    /// An answer to this request, in place of the node's.
    fn answer(&self, _request: &Value) -> Option<Value> {
        None
    }

    /// What the client gets for what the node said.
    fn pass(&self, said: String) -> String {
        said
    }
}

/// A node that has thrown away the states of these blocks.
pub struct Forgetful(pub BTreeSet<String>);

impl Manner for Forgetful {
    fn answer(&self, request: &Value) -> Option<Value> {
        let method = request["method"].as_str()?;
        let block = request["params"].as_array()?.last()?.as_str()?;
        // Not of headers and bodies: those stay.
        (method.starts_with("state_") && self.0.contains(block)).then(|| {
            let message =
                format!("Client error: Api called for an unknown Block: State already discarded for {block}");
            json!({ "jsonrpc": "2.0", "id": request["id"], "error": { "code": 4003, "message": message } })
        })
    }
}

/// Another kind of chain: every mention of one name is one of another, of the same length.
pub struct Renamed(pub &'static str, pub &'static str);

impl Manner for Renamed {
    fn pass(&self, said: String) -> String {
        assert_eq!(self.0.len(), self.1.len());
        said.replace(&hex::encode(self.0), &hex::encode(self.1))
    }
}

/// A node that says nothing of new blocks to who asked for them, once it was told to: until somebody asks again.
#[derive(Default)]
pub struct Mute(pub AtomicBool);

impl Manner for Arc<Mute> {
    fn answer(&self, request: &Value) -> Option<Value> {
        if request["method"] == "chain_subscribeNewHeads" {
            self.0.store(false, Ordering::SeqCst);
        }
        None
    }

    fn pass(&self, said: String) -> String {
        match self.0.load(Ordering::SeqCst) && said.contains("\"chain_newHead\"") {
            true => r#"{"jsonrpc":"2.0","method":"nothing","params":{"subscription":"none","result":null}}"#
                .into(),
            false => said,
        }
    }
}

/// Starts a proxy in front of a node and returns its address.
pub async fn start(node: &Node, manner: impl Manner) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}", listener.local_addr().unwrap());
    let (upstream, manner) = (node.port(), Arc::new(manner));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
            tokio::spawn(serve(client, server, manner.clone()));
        }
    });
    address
}

async fn serve(client: TcpStream, server: TcpStream, manner: Arc<impl Manner>) -> Option<()> {
    let (mut from_client, to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let to_client = Arc::new(Mutex::new(to_client));
    let asked = head(&mut from_client).await?;
    if let Some(status) = manner.refuses() {
        let answer = format!("HTTP/1.1 {status} Refused\r\ncontent-length: 0\r\n\r\n");
        to_client.lock().await.write_all(answer.as_bytes()).await.ok()?;
        return None;
    }
    to_server.write_all(&asked).await.ok()?;
    to_client.lock().await.write_all(&head(&mut from_server).await?).await.ok()?;
    let (down, told) = (manner.clone(), to_client.clone());
    let down = async move {
        while let Some(frame) = Frame::read(&mut from_server).await {
            let Frame { first, content } = frame;
            let content = match String::from_utf8(content) {
                Ok(text) if first & 0x0f == 1 => down.pass(text).into_bytes(),
                Ok(text) => text.into_bytes(),
                Err(bytes) => bytes.into_bytes(),
            };
            send(&told, first, &content).await?;
        }
        Some(())
    };
    let up = async move {
        while let Some(frame) = Frame::read(&mut from_client).await {
            let request: Option<Value> = serde_json::from_slice(&frame.content).ok();
            match request.as_ref().map_or(Deed::Pass, |request| manner.deed(request)) {
                Deed::Answer(answer) => send(&to_client, 0x81, answer.to_string().as_bytes()).await?,
                Deed::Pass => to_server.write_all(&frame.masked()).await.ok()?,
                Deed::Wait(time) => {
                    tokio::time::sleep(time).await;
                    to_server.write_all(&frame.masked()).await.ok()?;
                }
                Deed::Cut => return None,
                Deed::PassAndCut(time) => {
                    to_server.write_all(&frame.masked()).await.ok()?;
                    tokio::time::sleep(time).await;
                    return None;
                }
            }
        }
        Some(())
    };
    tokio::select! { end = down => end, end = up => end }
}

/// The request or the answer that makes a connection a WebSocket; it ends with an empty line.
async fn head(from: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await.ok()?);
    }
    Some(head)
}

/// A frame of RFC 6455, section 5.2, without its mask.
struct Frame {
    first: u8,
    content: Vec<u8>,
}

impl Frame {
    async fn read(from: &mut (impl AsyncRead + Unpin)) -> Option<Self> {
        let (first, second) = (from.read_u8().await.ok()?, from.read_u8().await.ok()?);
        let length = match second & 0x7f {
            126 => u64::from(from.read_u16().await.ok()?),
            127 => from.read_u64().await.ok()?,
            short => u64::from(short),
        };
        let mut mask = [0; 4];
        if second & 0x80 != 0 {
            from.read_exact(&mut mask).await.ok()?;
        }
        let mut content = vec![0; usize::try_from(length).ok()?];
        from.read_exact(&mut content).await.ok()?;
        content.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        Some(Self { first, content })
    }

    /// As a client sends it: with a mask, here of zeros.
    fn masked(&self) -> Vec<u8> {
        let mut bytes = prefix(self.first, self.content.len(), 0x80);
        bytes.extend([0; 4]);
        bytes.extend(&self.content);
        bytes
    }
}

fn prefix(first: u8, length: usize, masked: u8) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(masked | length as u8),
        126..65536 => {
            bytes.push(masked | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(masked | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes
}

async fn send(to: &Mutex<OwnedWriteHalf>, first: u8, content: &[u8]) -> Option<()> {
    let mut bytes = prefix(first, content.len(), 0);
    bytes.extend(content);
    to.lock().await.write_all(&bytes).await.ok()
}
