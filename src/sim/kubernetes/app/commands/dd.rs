//! `dd`.

use super::{Program, open};
use crate::rt::time::Instant;
use crate::sim::kubernetes::app::output::Out;
use crate::sim::kubernetes::app::tree::Writing;
use crate::stack::fuse::Errno;

/// Bytes of a block at most.
const BLOCK_BYTES_MAX: u64 = 64 << 20;

/// `dd if=file of=file [bs=bytes] [count=blocks]`.
pub async fn dd(own: &mut Program<'_>, args: &[String]) {
    let (mut from, mut to, mut size, mut count) = (None, None, 512, u64::MAX);
    for arg in args {
        let number = || arg.split_once('=').and_then(|(_, value)| bytes(value));
        match (arg.split_once('='), number()) {
            (Some(("if", name)), _) => from = Some(name),
            (Some(("of", name)), _) => to = Some(name),
            (Some(("bs", _)), Some(number)) if (1..=BLOCK_BYTES_MAX).contains(&number) => size = number,
            (Some(("count", _)), Some(number)) => count = number,
            _ => return own.fail(&format!("unrecognized operand '{arg}'")).await,
        }
    }
    let Some(from) = from else { return own.fail("standard input is not there: give if=").await };
    let began = Instant::now();
    let source = match open(&*own.shell.tree, &own.shell.path(from)).await {
        Ok(source) => source,
        Err(errno) => return own.refused(&format!("failed to open '{from}'"), errno).await,
    };
    let mut target = match sink(own, to).await {
        Ok(target) => target,
        Err(errno) => return own.refused(&format!("failed to open '{}'", to.unwrap_or_default()), errno).await,
    };
    let (mut offset, mut full, mut part) = (0, 0u64, 0u64);
    while full + part < count {
        match source.read_at(offset, size).await {
            Ok(bytes) if bytes.is_empty() => break,
            Ok(bytes) => {
                let written = match &mut target {
                    Sink::File(file) => file.write(&bytes).await,
                    Sink::Out(out) => out.write(&bytes).await,
                };
                if let Err(errno) = written {
                    own.refused(&format!("error writing '{}'", to.unwrap_or("standard output")), errno).await;
                    break;
                }
                offset += bytes.len() as u64;
                if bytes.len() as u64 == size { full += 1 } else { part += 1 }
            }
            Err(errno) => {
                own.refused(&format!("error reading '{from}'"), errno).await;
                break;
            }
        }
    }
    let _ = source.close().await;
    if let Sink::File(file) = target
        && let Err(errno) = file.close().await
    {
        own.refused(&format!("closing output file '{}'", to.unwrap_or_default()), errno).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let records = format!("{full}+{part} records in\n{full}+{part} records out\n{offset} bytes copied, {seconds:.3} s");
    own.io.complain(&records).await;
}

enum Sink {
    File(Box<dyn Writing>),
    Out(Out),
}

async fn sink(own: &Program<'_>, to: Option<&str>) -> Result<Sink, Errno> {
    match to {
        None => Ok(Sink::Out(own.io.out.clone())),
        Some("/dev/null") => Ok(Sink::Out(Out::Null)),
        Some(name) => own.shell.tree.create(&own.shell.path(name), false).await.map(Sink::File),
    }
}

/// A number with `k`, `M` or `G`.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" | "c" => 1,
        "k" | "K" | "KiB" => 1 << 10,
        "m" | "M" | "MiB" => 1 << 20,
        "g" | "G" | "GiB" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}
