//! `cp` and `mv`.

use super::remove::remove;
use super::{CHUNK, Program};
use crate::sim::kubernetes::app::tree::{Done, join, split};
use crate::stack::fuse::Errno;

/// `cp [-rRapfv] source… target`.
pub async fn cp(own: &mut Program<'_>, args: &[String]) {
    let Some(args) = own.args(args, "rRapfv").await else { return };
    let recursive = args.has('r') || args.has('R') || args.has('a');
    let Some((sources, target, into)) = targets(own, &args.operands).await else { return };
    for source in &sources {
        let to = if into { join(&target, split(&own.shell.path(source)).1) } else { target.clone() };
        let done = copy(own, source, &to, recursive, args.has('v')).await;
        debug_assert!(done.is_ok(), "what fails is said");
    }
}

/// `mv [-fv] source… target`: a rename, or else a copy after which the source goes.
pub async fn mv(own: &mut Program<'_>, args: &[String]) {
    let Some(args) = own.args(args, "fv").await else { return };
    let Some((sources, target, into)) = targets(own, &args.operands).await else { return };
    for source in &sources {
        let from = own.shell.path(source);
        let to = if into { join(&target, split(&from).1) } else { target.clone() };
        match own.shell.tree.rename(&from, &own.shell.path(&to)).await {
            Ok(()) => {}
            Err(Errno::EXDEV) => {
                let before = std::mem::take(&mut own.code);
                let done = copy(own, source, &to, true, false).await;
                debug_assert!(done.is_ok(), "what fails is said");
                if own.code == 0 {
                    remove(own, source, true, false).await;
                }
                own.code = own.code.max(before);
            }
            Err(errno) => own.refused(&format!("cannot move '{source}' to '{to}'"), errno).await,
        }
    }
}

/// Sources, target, and whether that is a directory to put them in.
async fn targets(own: &mut Program<'_>, operands: &[String]) -> Option<(Vec<String>, String, bool)> {
    let Some((target, sources)) = operands.split_last().filter(|(_, sources)| !sources.is_empty()) else {
        match operands.first() {
            Some(only) => own.fail(&format!("missing destination file operand after '{only}'")).await,
            None => own.fail("missing file operand").await,
        }
        return None;
    };
    let into = match own.shell.tree.stat(&own.shell.path(target)).await {
        Ok(stat) => stat.dir,
        Err(Errno::ENOENT) => false,
        Err(errno) => {
            own.refused(&format!("cannot stat '{target}'"), errno).await;
            return None;
        }
    };
    if sources.len() > 1 && !into {
        own.fail(&format!("target '{target}': {}", super::text_of(Errno::ENOTDIR))).await;
        return None;
    }
    Some((sources.to_vec(), target.clone(), into))
}

/// Copies one; failures are said, and the rest is copied.
fn copy<'a>(own: &'a mut Program<'_>, from: &'a str, to: &'a str, recursive: bool, told: bool) -> Done<'a, ()> {
    Box::pin(async move {
        let (source, target) = (own.shell.path(from), own.shell.path(to));
        let stat = match own.shell.tree.stat(&source).await {
            Ok(stat) => stat,
            Err(errno) => {
                own.refused(&format!("cannot stat '{from}'"), errno).await;
                return Ok(());
            }
        };
        if stat.dir && !recursive {
            own.fail(&format!("-r not specified; omitting directory '{from}'")).await;
            return Ok(());
        }
        if source == target {
            own.fail(&format!("'{from}' and '{to}' are the same file")).await;
            return Ok(());
        }
        if told {
            own.print(&format!("'{from}' -> '{to}'\n")).await;
        }
        if !stat.dir {
            file(own, (from, &source), (to, &target)).await;
            return Ok(());
        }
        if target.strip_prefix(&source).is_some_and(|rest| rest.starts_with('/')) {
            own.fail(&format!("cannot copy a directory, '{from}', into itself, '{to}'")).await;
            return Ok(());
        }
        match own.shell.tree.mkdir(&target).await {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => {
                own.refused(&format!("cannot create directory '{to}'"), errno).await;
                return Ok(());
            }
        }
        match own.shell.tree.list(&source).await {
            Ok(entries) => {
                for (name, _) in entries {
                    copy(own, &join(from, &name), &join(to, &name), true, told).await?;
                }
            }
            Err(errno) => own.refused(&format!("cannot access '{from}'"), errno).await,
        }
        Ok(())
    })
}

/// Name and path of the source, name and path of the target.
async fn file(own: &mut Program<'_>, from: (&str, &str), to: (&str, &str)) {
    let tree = &own.shell.tree;
    let source = match tree.open(from.1).await {
        Ok(source) => source,
        Err(errno) => return own.refused(&format!("cannot open '{}' for reading", from.0), errno).await,
    };
    let mut target = match tree.create(to.1, false).await {
        Ok(target) => target,
        Err(errno) => {
            let _ = source.close().await;
            return own.refused(&format!("cannot create regular file '{}'", to.0), errno).await;
        }
    };
    let mut offset = 0;
    loop {
        match source.read_at(offset, CHUNK).await {
            Ok(bytes) if bytes.is_empty() => break,
            Ok(bytes) => {
                offset += bytes.len() as u64;
                if let Err(errno) = target.write(&bytes).await {
                    own.refused(&format!("error writing '{}'", to.0), errno).await;
                    break;
                }
            }
            Err(errno) => {
                own.refused(&format!("error reading '{}'", from.0), errno).await;
                break;
            }
        }
    }
    let _ = source.close().await;
    if let Err(errno) = target.close().await {
        own.refused(&format!("failed to close '{}'", to.0), errno).await;
    }
}
