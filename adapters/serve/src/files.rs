//! The files of a directory, for GET and HEAD.
//!
//! A path cannot leave the directory, by whatever means (see `path` and `root`). Directories give
//! their `index.html`, or a listing; pipes, sockets and devices are refused. Conditional requests and single byte
//! ranges are answered as RFC 9110 says, content is read piece by piece as the peer takes it.

mod conditional;
mod date;
mod listing;
mod path;
mod range;
mod reader;
mod root;

pub(crate) use reader::Reader;

use crate::answer::{self, Answer, HTML};
use crate::body::AnswerBody;
use blocking::unblock;
use conditional::{Validators, Verdict};
use http::header::{
    ACCEPT_RANGES, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use path::Place;
use range::Wanted;
use root::{Found, Root};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

const INDEX: &str = "index.html";
const BYTES: HeaderValue = HeaderValue::from_static("bytes");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// A listing runs nothing and loads nothing.
const INERT: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");

/// The files of a directory.
#[derive(Clone, Debug)]
pub struct Files {
    root: Arc<Root>,
}

impl Files {
    /// Serves the directory at `path`, wherever that is moved.
    ///
    /// # Errors
    /// If it is no directory, or cannot be read.
    pub fn open(path: &Path) -> io::Result<Files> {
        Ok(Files { root: Arc::new(Root::open(path)?) })
    }

    /// The files as a service, for an adapter's `serve`.
    pub fn service<B>(self) -> impl Fn(Request<B>) -> Answer<B> + Clone + Send + Sync + 'static
    where
        B: Send + 'static,
    {
        move |request| self.answer(&request)
    }

    /// Answers one request; its content is not looked at.
    pub fn answer<B, C: Send + 'static>(&self, request: &Request<B>) -> Answer<C> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return Answer::now(answer::wrong_method("GET, HEAD"));
        }
        let Ok(place) = Place::named_by(request.uri().path()) else {
            let text = "the path can be read in two ways\n";
            return Answer::now(answer::line(StatusCode::BAD_REQUEST, text));
        };
        let root = self.root.clone();
        let asked = Asked { method: request.method().clone(), fields: request.headers().clone() };
        Answer::later(unblock(move || {
            serve(&root, &place, &asked).unwrap_or_else(|error| refusal(&error))
        }))
    }
}

/// What a request says besides its target.
struct Asked {
    method: Method,
    fields: HeaderMap,
}

fn serve<C>(root: &Root, place: &Place, asked: &Asked) -> io::Result<Response<AnswerBody<C>>> {
    match root.look_up(place.path())? {
        Found::File(..) if place.means_directory() => Ok(answer::not_found()),
        Found::File(file, metadata) => serve_file(file, &metadata, place.path(), asked),
        Found::Special => Ok(answer::line(StatusCode::FORBIDDEN, "this is not a file\n")),
        Found::Directory(_) if !place.means_directory() => Ok(redirect(&place.directory_target())),
        Found::Directory(directory) => {
            let index = place.entry(OsStr::new(INDEX));
            match root.look_up(&index) {
                Ok(Found::File(file, metadata)) => serve_file(file, &metadata, &index, asked),
                Ok(_) => serve_page(listing::page(root, place, &directory)?),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    serve_page(listing::page(root, place, &directory)?)
                }
                Err(error) => Err(error),
            }
        }
    }
}

fn serve_page<C>(page: String) -> io::Result<Response<AnswerBody<C>>> {
    let mut response = answer::of_type(HTML, AnswerBody::whole(page));
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, INERT);
    Ok(response)
}

fn redirect<C>(target: &str) -> Response<AnswerBody<C>> {
    let mut response = answer::line(StatusCode::PERMANENT_REDIRECT, "a directory ends in /\n");
    // Escaped: always a value.
    if let Ok(target) = HeaderValue::try_from(target) {
        response.headers_mut().insert(LOCATION, target);
    }
    response
}

fn serve_file<C>(
    file: File,
    metadata: &Metadata,
    path: &Path,
    asked: &Asked,
) -> io::Result<Response<AnswerBody<C>>> {
    let validators = Validators::of(metadata);
    let length = metadata.len();
    let mut response = match validators.weigh(&asked.fields) {
        Verdict::NotModified => status(StatusCode::NOT_MODIFIED, AnswerBody::omitted(length)),
        Verdict::Failed => {
            let text = "the file is another than was asked for\n";
            return Ok(answer::line(StatusCode::PRECONDITION_FAILED, text));
        }
        Verdict::Proceed if asked.method == Method::HEAD => {
            of_file(path, AnswerBody::omitted(length))
        }
        Verdict::Proceed => match asked.range(&validators, length) {
            Wanted::Whole => of_file(path, AnswerBody::file(Reader::new(file, 0..length)?)),
            Wanted::Part(range) => {
                let told = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                let mut part = of_file(path, AnswerBody::file(Reader::new(file, range)?));
                *part.status_mut() = StatusCode::PARTIAL_CONTENT;
                with_range(part, &told)
            }
            Wanted::Unsatisfiable => {
                let text = "the file does not reach that far\n";
                let refused = answer::line(StatusCode::RANGE_NOT_SATISFIABLE, text);
                return Ok(with_range(refused, &format!("bytes */{length}")));
            }
        },
    };
    validators.tell(response.headers_mut());
    response.headers_mut().insert(ACCEPT_RANGES, BYTES);
    Ok(response)
}

impl Asked {
    /// The part that is asked for; several `Range` fields are as good as none.
    fn range(&self, validators: &Validators, length: u64) -> Wanted {
        let mut ranges = self.fields.get_all(RANGE).iter();
        match (ranges.next(), ranges.next()) {
            (Some(range), None) if validators.allow_part(&self.fields) => {
                Wanted::read(range.as_bytes(), length)
            }
            _ => Wanted::Whole,
        }
    }
}

fn status<C>(status: StatusCode, body: AnswerBody<C>) -> Response<AnswerBody<C>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// An answer of the type that the file's name says; text is taken for UTF-8.
fn of_file<C>(path: &Path, body: AnswerBody<C>) -> Response<AnswerBody<C>> {
    let guess = mime_guess::from_path(path).first_or_octet_stream();
    let charset = if guess.type_() == "text" { "; charset=utf-8" } else { "" };
    let mut response = Response::new(body);
    if let Ok(value) = HeaderValue::try_from(format!("{guess}{charset}")) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}

fn with_range<C>(mut response: Response<AnswerBody<C>>, range: &str) -> Response<AnswerBody<C>> {
    if let Ok(range) = HeaderValue::try_from(range) {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
    response
}

/// What the system's refusal means to the client; what is the server's fault is logged.
fn refusal<C>(error: &io::Error) -> Response<AnswerBody<C>> {
    let forbidden = || answer::line(StatusCode::FORBIDDEN, "this is not to be read\n");
    match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP) => {
            answer::not_found()
        }
        // The last two are what opening a socket, or the device of no driver, comes to.
        Some(Errno::ACCESS | Errno::PERM | Errno::NXIO | Errno::NODEV) => forbidden(),
        // It led out of the root: a refusal without a number of the system's.
        None if error.kind() == ErrorKind::PermissionDenied => forbidden(),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN) => {
            // Said once for all by whoever cannot accept: a line for each request would be a flood.
            tracing::debug!(%error, "no room to serve a file");
            answer::line(StatusCode::SERVICE_UNAVAILABLE, "there is no room for this now\n")
        }
        _ => {
            tracing::error!(%error, "a file cannot be served");
            answer::line(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read\n")
        }
    }
}

#[cfg(test)]
mod tests;
