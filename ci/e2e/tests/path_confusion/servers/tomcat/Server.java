import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.File;
import java.io.IOException;
import org.apache.catalina.Context;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;

/** Tomcat: path parameters are removed, escapes decoded and dot segments resolved before a servlet is chosen. */
public class Server {
    static class Handler extends HttpServlet {
        private final String name;

        Handler(String name) {
            this.name = name;
        }

        @Override
        protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
            boolean admin = request.getServerName().equals("admin.example.com")
                    || name.equals("orders") && request.getMethod().equals("POST");
            String handler = admin ? "admin" : name.equals("orders") ? "fallback" : name;
            String info = request.getPathInfo();
            response.setContentType("text/plain;charset=UTF-8");
            response.getWriter().println(handler + " " + request.getServletPath() + (info == null ? "" : info));
        }
    }

    public static void main(String[] arguments) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(new File(".").getAbsolutePath());
        Connector connector = new Connector();
        connector.setProperty("unixDomainSocketPath", "socket");
        tomcat.setConnector(connector);
        Context context = tomcat.addContext("", null);
        String[][] servlets = {
            {"/admin/*", "admin"}, {"/keys", "admin"}, {"/orders", "orders"}, {"/public/*", "public"}, {"/", "fallback"},
        };
        for (String[] servlet : servlets) {
            Tomcat.addServlet(context, servlet[0], new Handler(servlet[1]));
            context.addServletMappingDecoded(servlet[0], servlet[0]);
        }
        tomcat.start();
        tomcat.getServer().await();
    }
}
