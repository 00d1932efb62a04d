//! temporary
fn main() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let args: Vec<String> = std::env::args().collect();
    let config = skink_server::ServerConfig::new(args[3].clone().into(), args[5].parse().unwrap());
    match skink_server::start(config) { Ok(server) => { println!("ready {}", server.address()); if let Err(e) = server.wait() { eprintln!("{e}"); } } Err(e) => { eprintln!("{e}"); std::process::exit(1) } }
}
