// Go's net/http with Shutdown, for the comparison: `server auto|http1|http2 WORKERS <&LISTENER`, as the programs of `src/bin`.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

func main() {
	workers, err := strconv.Atoi(os.Args[2])
	check(err)
	runtime.GOMAXPROCS(workers)
	listener, err := net.FileListener(os.Stdin)
	check(err)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(300 * time.Millisecond)
		fmt.Fprint(w, "hello")
	})
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: mux, Protocols: protocols}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	fmt.Println(os.Getpid())
	go server.Serve(listener)
	<-stop
	check(server.Shutdown(context.Background()))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
