//! What SDKs send arrives as it was sent, over every protocol and compression that they offer.

mod python {
    use crate::sdk::Sdk::Python;

    #[tokio::test]
    async fn over_http_in_protobuf() {
        for compression in ["none", "gzip", "deflate"] {
            Python.arrives_as_it_was_sent("http/protobuf", compression).await;
        }
    }

    #[tokio::test]
    async fn over_http_in_json() {
        for compression in ["none", "gzip", "deflate"] {
            Python.arrives_as_it_was_sent("http/json", compression).await;
        }
    }

    #[tokio::test]
    async fn over_grpc() {
        for compression in ["none", "gzip", "deflate"] {
            Python.arrives_over_grpc(compression).await;
        }
    }

    #[tokio::test]
    async fn over_grpc_on_the_port_of_http() {
        Python.arrives_as_it_was_sent("grpc", "gzip").await;
    }

    #[tokio::test]
    async fn tries_again_what_was_refused() {
        for protocol in ["http/protobuf", "grpc"] {
            Python.tries_again(protocol).await;
        }
    }
}

mod go {
    use crate::sdk::Sdk::Go;

    #[tokio::test]
    async fn over_http_in_protobuf() {
        for compression in ["none", "gzip"] {
            Go.arrives_as_it_was_sent("http/protobuf", compression).await;
        }
    }

    #[tokio::test]
    async fn over_grpc() {
        for compression in ["none", "gzip"] {
            Go.arrives_over_grpc(compression).await;
        }
    }

    #[tokio::test]
    async fn over_grpc_on_the_port_of_http() {
        Go.arrives_as_it_was_sent("grpc", "gzip").await;
    }

    #[tokio::test]
    async fn tries_again_what_was_refused() {
        for protocol in ["http/protobuf", "grpc"] {
            Go.tries_again(protocol).await;
        }
    }
}

mod node {
    use crate::sdk::Sdk::Node;

    #[tokio::test]
    async fn over_http_in_protobuf() {
        for compression in ["none", "gzip"] {
            Node.arrives_as_it_was_sent("http/protobuf", compression).await;
        }
    }

    #[tokio::test]
    async fn over_http_in_json() {
        for compression in ["none", "gzip"] {
            Node.arrives_as_it_was_sent("http/json", compression).await;
        }
    }

    #[tokio::test]
    async fn over_grpc() {
        for compression in ["none", "gzip"] {
            Node.arrives_over_grpc(compression).await;
        }
    }

    #[tokio::test]
    async fn over_grpc_on_the_port_of_http() {
        Node.arrives_as_it_was_sent("grpc", "gzip").await;
    }

    #[tokio::test]
    async fn tries_again_what_was_refused() {
        // Over gRPC it doesn't.
        Node.tries_again("http/protobuf").await;
    }
}

mod java {
    use crate::sdk::Sdk::Java;

    #[tokio::test]
    async fn over_http_in_protobuf() {
        for compression in ["none", "gzip"] {
            Java.arrives_as_it_was_sent("http/protobuf", compression).await;
        }
    }

    #[tokio::test]
    async fn over_grpc() {
        for compression in ["none", "gzip"] {
            Java.arrives_over_grpc(compression).await;
        }
    }

    #[tokio::test]
    async fn over_grpc_on_the_port_of_http() {
        Java.arrives_as_it_was_sent("grpc", "gzip").await;
    }

    #[tokio::test]
    async fn tries_again_what_was_refused() {
        for protocol in ["http/protobuf", "grpc"] {
            Java.tries_again(protocol).await;
        }
    }
}
