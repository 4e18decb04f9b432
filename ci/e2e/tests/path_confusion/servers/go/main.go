// Go's net/http: http.ServeMux cleans paths by a redirect and matches them decoded, segment by segment.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
)

func handler(name string) http.HandlerFunc {
	return func(response http.ResponseWriter, request *http.Request) {
		fmt.Fprintf(response, "%s %s\n", name, request.URL.Path)
	}
}

func main() {
	mux := http.NewServeMux()
	mux.Handle("admin.example.com/", handler("admin"))
	mux.Handle("/admin", handler("admin"))
	mux.Handle("/admin/", handler("admin"))
	mux.Handle("/keys", handler("admin"))
	mux.Handle("POST /orders", handler("admin"))
	mux.Handle("/public/", handler("public"))
	mux.Handle("/", handler("fallback"))

	listener, err := net.Listen("unix", "socket")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, mux))
}
