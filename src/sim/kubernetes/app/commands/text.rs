//! `echo`, `cat`, `md5sum`, `tail` and `sleep`.

use md5::{Digest, Md5};

use super::{CHUNK, Program, open, whole};
use crate::rt::time::{Duration, sleep as wait};
use crate::stack::fuse::Errno;

/// `echo [-n] [-e] word…`.
pub async fn echo(own: &mut Program<'_>, args: &[String]) {
    let flag = |arg: &&String| matches!(arg.as_str(), "-n" | "-e" | "-ne" | "-en" | "-E");
    let flags = args.iter().take_while(flag).count();
    let given = |letter| args[..flags].iter().any(|arg| arg.contains(letter));
    let mut text = args[flags..].join(" ");
    if given('e') {
        text = text.replace("\\n", "\n").replace("\\t", "\t");
    }
    if !given('n') {
        text.push('\n');
    }
    own.print(&text).await;
}

/// Gives a file's bytes, chunk by chunk, to `take`, until that wants no more.
async fn each_chunk(own: &mut Program<'_>, name: &str, mut take: impl AsyncTake) -> bool {
    let path = own.shell.path(name);
    let file = match open(&*own.shell.tree, &path).await {
        Ok(file) => file,
        Err(errno) => {
            own.refused(name, errno).await;
            return false;
        }
    };
    let mut offset = 0;
    let whole = loop {
        match file.read_at(offset, CHUNK).await {
            Ok(bytes) if bytes.is_empty() => break true,
            Ok(bytes) => {
                offset += bytes.len() as u64;
                if !take.take(own, &bytes).await {
                    break false;
                }
            }
            Err(errno) => {
                own.refused(name, errno).await;
                break false;
            }
        }
    };
    if let Err(errno) = file.close().await {
        own.refused(name, errno).await;
    }
    whole
}

/// Where chunks go.
trait AsyncTake: Send {
    fn take(&mut self, own: &mut Program<'_>, bytes: &[u8]) -> impl Future<Output = bool> + Send;
}

/// To standard output.
struct Print;

impl AsyncTake for Print {
    async fn take(&mut self, own: &mut Program<'_>, bytes: &[u8]) -> bool {
        own.write(bytes).await
    }
}

impl AsyncTake for &mut Md5 {
    async fn take(&mut self, _: &mut Program<'_>, bytes: &[u8]) -> bool {
        self.update(bytes);
        true
    }
}

/// `cat file…`.
pub async fn cat(own: &mut Program<'_>, args: &[String]) {
    let Some(args) = own.args(args, "u").await else { return };
    for name in &args.operands {
        each_chunk(own, name, Print).await;
    }
}

/// `md5sum file…`.
pub async fn md5sum(own: &mut Program<'_>, args: &[String]) {
    let Some(args) = own.operands(args, "b", 1).await else { return };
    for name in &args.operands {
        let mut digest = Md5::new();
        if each_chunk(own, name, &mut digest).await {
            let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            own.print(&format!("{hex}  {name}\n")).await;
        }
    }
}

/// `tail [-n lines] [-f] file`. Differs: with `-f` what is added to the file later is not shown.
pub async fn tail(own: &mut Program<'_>, args: &[String]) {
    let (mut lines, mut follow, mut names) = (10usize, false, Vec::new());
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "-f" | "-F" => follow = true,
            "-n" => match rest.next().and_then(|count| count.parse().ok()) {
                Some(count) => lines = count,
                None => return own.fail("invalid number of lines").await,
            },
            flag if flag.len() > 1 && flag.starts_with('-') => match flag.trim_start_matches("-n").parse::<i64>() {
                Ok(count) => lines = count.unsigned_abs() as usize,
                Err(_) => return own.fail(&format!("invalid option -- '{}'", &flag[1..])).await,
            },
            name => names.push(name),
        }
    }
    for name in &names {
        match whole(&*own.shell.tree, &own.shell.path(name)).await {
            Ok(content) => {
                let text = String::from_utf8_lossy(&content).into_owned();
                let all: Vec<&str> = text.split_inclusive('\n').collect();
                own.print(&all[all.len().saturating_sub(lines)..].concat()).await;
            }
            Err(errno) => own.refused(&format!("cannot open '{name}' for reading"), errno).await,
        }
    }
    if follow && !(own.code != 0 && names.len() == 1) {
        std::future::pending::<()>().await;
    }
}

/// `sleep time…`: numbers with `s`, `m`, `h` or `d`, or `infinity`; added up.
pub async fn sleep(own: &mut Program<'_>, args: &[String]) {
    if args.is_empty() {
        return own.fail("missing operand").await;
    }
    let mut total = Duration::ZERO;
    for arg in args {
        match interval(arg) {
            Ok(Some(time)) => total = total.saturating_add(time),
            Ok(None) => std::future::pending::<()>().await,
            Err(_) => return own.fail(&format!("invalid time interval '{arg}'")).await,
        }
    }
    wait(total).await;
}

/// `None`: for ever.
fn interval(text: &str) -> Result<Option<Duration>, Errno> {
    if matches!(text, "infinity" | "inf") {
        return Ok(None);
    }
    let unit = match text.chars().last() {
        Some('m') => 60.0,
        Some('h') => 3600.0,
        Some('d') => 86_400.0,
        _ => 1.0,
    };
    let number = text.strip_suffix(['s', 'm', 'h', 'd']).unwrap_or(text);
    let seconds: f64 = number.parse().map_err(|_| Errno::EINVAL)?;
    Duration::try_from_secs_f64(seconds * unit).map(Some).map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_as_gnu_sleep_does() {
        let ms = |ms| Ok(Some(Duration::from_millis(ms)));
        for (text, want) in [
            ("5", ms(5000)),
            ("0.25s", ms(250)),
            ("2m", ms(120_000)),
            ("1h", ms(3_600_000)),
            ("infinity", Ok(None)),
            ("soon", Err(Errno::EINVAL)),
            ("-1", Err(Errno::EINVAL)),
            ("", Err(Errno::EINVAL)),
        ] {
            assert_eq!(interval(text), want, "{text}");
        }
    }
}
