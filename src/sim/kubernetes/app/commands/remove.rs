//! `mkdir`, `rm`, `rmdir` and `touch`.

use super::Program;
use crate::sim::kubernetes::app::tree::{Done, join};
use crate::stack::fuse::Errno;

/// `mkdir [-p] path…`.
pub async fn mkdir(own: &mut Program<'_>, args: &[String]) {
    let Some(args) = own.operands(args, "p", 1).await else { return };
    for name in &args.operands {
        let path = own.shell.path(name);
        let made = if args.has('p') { parents(own, &path).await } else { own.shell.tree.mkdir(&path).await };
        if let Err(errno) = made {
            own.refused(&format!("cannot create directory '{name}'"), errno).await;
        }
    }
}

async fn parents(own: &Program<'_>, path: &str) -> Result<(), Errno> {
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
    for end in ends.filter(|end| *end > 1) {
        let dir = &path[..end];
        match own.shell.tree.stat(dir).await {
            Ok(stat) if stat.dir => {}
            Ok(_) if end == path.len() => return Err(Errno::EEXIST),
            Ok(_) => return Err(Errno::ENOTDIR),
            Err(Errno::ENOENT) => match own.shell.tree.mkdir(dir).await {
                Ok(()) | Err(Errno::EEXIST) => {}
                other => return other,
            },
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// `rm [-rRf] path…`.
pub async fn rm(own: &mut Program<'_>, args: &[String]) {
    let Some(args) = own.args(args, "rRfv").await else { return };
    if args.operands.is_empty() && !args.has('f') {
        return own.fail("missing operand").await;
    }
    for name in &args.operands {
        remove(own, name, args.has('r') || args.has('R'), args.has('f')).await;
    }
}

/// Removes one; failures are said.
pub async fn remove(own: &mut Program<'_>, name: &str, recursive: bool, force: bool) {
    match own.shell.tree.stat(&own.shell.path(name)).await {
        Ok(stat) if stat.dir && !recursive => own.refused(&format!("cannot remove '{name}'"), Errno::EISDIR).await,
        Ok(stat) => {
            let done = below(own, name, stat.dir).await;
            debug_assert!(done.is_ok(), "what fails is said");
        }
        Err(Errno::ENOENT) if force => {}
        Err(errno) => own.refused(&format!("cannot remove '{name}'"), errno).await,
    }
}

fn below<'a>(own: &'a mut Program<'_>, name: &'a str, dir: bool) -> Done<'a, ()> {
    Box::pin(async move {
        let path = own.shell.path(name);
        if dir {
            match own.shell.tree.list(&path).await {
                Ok(entries) => {
                    for (entry, is_dir) in entries {
                        below(own, &join(name, &entry), is_dir).await?;
                    }
                }
                Err(errno) => own.refused(&format!("cannot remove '{name}'"), errno).await,
            }
        }
        let removed = if dir { own.shell.tree.rmdir(&path).await } else { own.shell.tree.unlink(&path).await };
        if let Err(errno) = removed {
            own.refused(&format!("cannot remove '{name}'"), errno).await;
        }
        Ok(())
    })
}

/// `rmdir path…`.
pub async fn rmdir(own: &mut Program<'_>, args: &[String]) {
    let Some(args) = own.operands(args, "", 1).await else { return };
    for name in &args.operands {
        if let Err(errno) = own.shell.tree.rmdir(&own.shell.path(name)).await {
            own.refused(&format!("failed to remove '{name}'"), errno).await;
        }
    }
}

/// `touch path…`: makes what is not there. Differs: times of what is there stay.
pub async fn touch(own: &mut Program<'_>, args: &[String]) {
    let Some(args) = own.operands(args, "", 1).await else { return };
    for name in &args.operands {
        let path = own.shell.path(name);
        let made = match own.shell.tree.stat(&path).await {
            Ok(_) => Ok(()),
            Err(Errno::ENOENT) => match own.shell.tree.create(&path, false).await {
                Ok(file) => file.close().await,
                Err(errno) => Err(errno),
            },
            Err(errno) => Err(errno),
        };
        if let Err(errno) = made {
            own.refused(&format!("cannot touch '{name}'"), errno).await;
        }
    }
}
