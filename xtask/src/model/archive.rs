//! Reads the single file from the tar stream that `docker cp CONTAINER:FILE -`
//! writes.

const BLOCK: usize = 512;

/// The content of the first entry; `None` if it is not a regular file, or is cut
/// off.
pub fn file(tar: &[u8]) -> Option<&[u8]> {
    let header = tar.get(..BLOCK)?;
    let size = size(header.get(124..136)?)?;
    let content = tar.get(BLOCK..BLOCK.checked_add(size)?)?;
    match header[156] {
        b'0' | 0 => Some(content),
        // An extended header: it holds values that do not fit into the next
        // header.
        b'x' | b'g' => file(tar.get(BLOCK + size.div_ceil(BLOCK) * BLOCK..)?),
        _ => None,
    }
}

/// An octal number, as in a tar header.
fn size(field: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    usize::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut entry = vec![0; BLOCK];
        entry[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        entry[156] = kind;
        entry.extend(content);
        entry.resize(entry.len().div_ceil(BLOCK) * BLOCK, 0);
        entry
    }

    #[test]
    fn the_file_is_found_whole_or_not_at_all() {
        let long = vec![b'x'; 1300];
        for content in [&b""[..], b"<testsuites/>", &long[..512], &long] {
            assert_eq!(file(&entry(b'0', content)), Some(content));
            assert_eq!(file(&entry(0, content)), Some(content));
            let with_more = [entry(b'x', b"30 mtime=1\n"), entry(b'g', &long), entry(b'0', content)].concat();
            assert_eq!(file(&with_more), Some(content));
        }
        let whole = entry(b'0', &long);
        assert_eq!(file(&whole[..BLOCK + 1299]), None, "cut off");
        for (kind, what) in [(b'2', "a link"), (b'5', "a folder"), (b'6', "a fifo")] {
            assert_eq!(file(&entry(kind, b"")), None, "{what}");
        }
        assert_eq!(file(b""), None);
        assert_eq!(file(&[0xff; 2 * BLOCK]), None);
        assert_eq!(file(&entry(b'x', &long)), None, "nothing behind it");
    }
}
