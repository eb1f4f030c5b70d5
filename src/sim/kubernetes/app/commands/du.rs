//! `du`: what files take, in units of 512 bytes; directories take nothing.
//!
//! Differs: on a real disk a directory takes a block, and so does a part of one. Behind a fuse it is as here, and the
//! Alluxio document shows that (`29K` for a file of 28.x KiB).

use super::{Args, Program};
use crate::sim::kubernetes::app::tree::{Done, join};

/// `du [-hsackb] [path…]`.
pub async fn du(own: &mut Program<'_>, args: &[String]) {
    let Some(args) = own.args(args, "hsackb").await else { return };
    let operands = if args.operands.is_empty() { vec![".".to_owned()] } else { args.operands.clone() };
    let mut total = 0;
    for operand in &operands {
        let taken = walk(own, operand, &args, 0).await.unwrap_or(0);
        total += taken;
    }
    if args.has('c') {
        own.print(&format!("{}\ttotal\n", shown(total, &args))).await;
    }
}

/// Bytes at and below a path.
fn walk<'a>(own: &'a mut Program<'_>, name: &'a str, args: &'a Args, depth: usize) -> Done<'a, u64> {
    Box::pin(async move {
        let path = own.shell.path(name);
        let stat = match own.shell.tree.stat(&path).await {
            Ok(stat) => stat,
            Err(errno) => {
                own.refused(&format!("cannot access '{name}'"), errno).await;
                return Ok(0);
            }
        };
        let mut taken = if args.has('b') { stat.size } else { stat.blocks() * 512 };
        if stat.dir {
            taken = 0;
            match own.shell.tree.list(&path).await {
                Ok(entries) => {
                    for (entry, _) in entries {
                        taken += walk(own, &join(name, &entry), args, depth + 1).await?;
                    }
                }
                Err(errno) => own.refused(&format!("cannot read directory '{name}'"), errno).await,
            }
        }
        let told = depth == 0 || !args.has('s') && (stat.dir || args.has('a'));
        if told {
            own.print(&format!("{}\t{name}\n", shown(taken, args))).await;
        }
        Ok(taken)
    })
}

fn shown(bytes: u64, args: &Args) -> String {
    match (args.has('h'), args.has('b')) {
        (true, _) => human(bytes),
        (false, true) => bytes.to_string(),
        (false, false) => bytes.div_ceil(1024).to_string(),
    }
}

/// GNU's `-h`: up to the next tenth below ten, else up to the next whole number.
pub fn human(bytes: u64) -> String {
    if bytes < 1024 {
        return bytes.to_string();
    }
    let (mut unit, mut letter) = (1024u128, 0);
    let bytes = u128::from(bytes);
    // 1023.1K is 1024K, and that is 1.0M.
    while bytes.div_ceil(unit) >= 1024 && letter < 5 {
        unit *= 1024;
        letter += 1;
    }
    let letter = ["K", "M", "G", "T", "P", "E"][letter];
    let tenths = (bytes * 10).div_ceil(unit);
    if tenths < 100 {
        return format!("{}.{}{letter}", tenths / 10, tenths % 10);
    }
    format!("{}{letter}", bytes.div_ceil(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_up_as_gnu_does() {
        for (bytes, want) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1025, "1.1K"),
            (10 * 1024, "10K"),
            (10 * 1024 - 1, "10K"),
            (29_184, "29K"),
            (667_136, "652K"),
            (1_100_000, "1.1M"),
            (275_775_488, "263M"),
            (1024 * 1024 - 1, "1.0M"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(human(bytes), want, "{bytes}");
        }
    }
}
